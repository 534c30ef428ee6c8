"""The command `clew`, also as `python -m clew`."""

import gc

# What is imported stays to the end. To look for garbage in it, again and again, takes half of a start.
gc.disable()
try:
    from .cli import main
finally:
    gc.freeze()
    gc.enable()

if __name__ == "__main__":
    main()
