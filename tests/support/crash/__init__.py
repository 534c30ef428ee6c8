"""Orders from many writers while everything that clew consists of is killed again and again."""
