"""The pages for people who work at the desk: agents and shop owners."""
