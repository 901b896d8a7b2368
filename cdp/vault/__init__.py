"""The vault: root keys, subject keys, seals, pseudonyms and signatures. Only this package uses cryptography."""
