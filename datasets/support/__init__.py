"""What every room shares: errors for people, cache folders, atomic files, and the discovery of entries."""
