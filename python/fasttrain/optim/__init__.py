"""Floor 3: AdamW, schedules, clipping."""
