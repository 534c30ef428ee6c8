"""Orders: read from pages, checked for doubts, recorded, credited, corrected."""
