"""The vocabulary that every room shares. Standard library and numpy only; imports nothing of ours."""
