"""Show the open case: its layers, linked views, overlays and edits."""
