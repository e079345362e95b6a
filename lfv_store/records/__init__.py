"""The store's value types. All datetimes are aware; those returned are in UTC."""
