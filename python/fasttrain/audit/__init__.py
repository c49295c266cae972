"""Floor 5: questions to the ledger."""
