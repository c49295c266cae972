"""Floor 3, first of the data rooms: files of a lake (web, wiki, JSONL, Parquet, text, PDF, mail, code) -> documents."""
