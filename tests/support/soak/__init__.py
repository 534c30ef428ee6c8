"""A long run of `clew serve` between a shop full of faults and visitors with bad manners."""
