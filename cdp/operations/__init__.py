"""Operations: policies in force, import jobs, the test clock."""
