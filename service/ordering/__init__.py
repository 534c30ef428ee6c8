"""An order, from the page that shows it to the credit: read, judged, recorded, corrected."""
