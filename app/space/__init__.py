"""The graph becomes a space: 3D coordinates and the point cloud that browsers fly through."""
