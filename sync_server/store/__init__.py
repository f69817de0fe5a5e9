"""The database: tables, statements, transactions, and the two dialects."""
