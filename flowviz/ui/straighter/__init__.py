"""Long work of the page on learned paths."""
