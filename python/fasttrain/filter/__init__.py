"""Floor 3: documents -> those worth reading, with a reason for every drop."""
