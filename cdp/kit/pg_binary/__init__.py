"""PostgreSQL's binary formats, packed without a driver's help: arrays and COPY rows, several times faster than value by value."""
