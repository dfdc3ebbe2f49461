class CampaignError(Exception):
    """Something a user can mend. The message is one line: what was found, where, and what to do."""
