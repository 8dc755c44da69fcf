"""Everything with a window: the dock, its tabs, and the layers of a case."""
