"""Floor 3, first of the data rooms: files of a lake (WARC, JSONL, Parquet, text, PDF, mail, code) -> documents."""
