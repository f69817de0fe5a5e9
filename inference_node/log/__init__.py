"""The one Python peer of the change log, and the requests that come by it."""
