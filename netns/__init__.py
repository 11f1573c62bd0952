"""Networks between network namespaces: bridges, veth pairs, addresses, names, published ports."""
