"""The commands of `clairvision`. Each file is one group; app/cli.py joins them."""
