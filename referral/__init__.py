"""Who sent this visitor: touches, click ids, the networks' catalogue, cookies, credit."""
