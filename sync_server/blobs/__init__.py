"""Files of an account, content-addressed, on the disk beside the database."""
