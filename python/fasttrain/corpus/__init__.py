"""Floor 3, first of the data rooms: a lake's files (WARC, JSONL, Parquet, text, source trees) -> documents."""
