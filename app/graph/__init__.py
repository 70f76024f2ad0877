"""Vectors become a graph: each photo's nearest neighbours, which everything later stands on."""
