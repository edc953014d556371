"""`forecast tune`: what is searched, how trials are scored and kept, and what came of a study."""
