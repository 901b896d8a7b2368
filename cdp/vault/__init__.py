"""The strongroom: root keys, subject keys, sealing, pseudonyms and signatures. Only this floor knows cryptography."""
