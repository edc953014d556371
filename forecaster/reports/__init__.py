"""Pictures of forecasts, comparisons and studies."""
