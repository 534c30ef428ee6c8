"""Finding the insertion point in a page, content codings, policies, validators, page facts."""
