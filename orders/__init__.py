"""What did the visitor buy: the order, and how it is seen on a page."""
