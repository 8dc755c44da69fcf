"""Write masks on the grid of their images, in formats of other tools."""
