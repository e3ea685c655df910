"""A result as Markdown, as a page, as a comparison, and as the figures of a model card."""
