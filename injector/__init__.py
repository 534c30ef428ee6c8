"""What goes into the page, and where: the scanner, codings, policies, validators, page facts."""
