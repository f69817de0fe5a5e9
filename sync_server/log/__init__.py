"""The change log: push, pull, bootstrap, leases, purges, and the news of all that."""
