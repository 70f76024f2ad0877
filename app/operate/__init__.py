"""What the operator sees and does: is it running, is it healthy, stop it."""
