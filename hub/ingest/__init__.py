"""From the broker into the database: admit, derive, commit, receipt. See hub/README.md."""
