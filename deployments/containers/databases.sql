-- Run by PostgreSQL's image when its volume is new; the results database `lfv` is there already.
CREATE DATABASE prefect;
