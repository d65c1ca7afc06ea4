"""What can go wrong, done on purpose: see `campaign.py`."""
