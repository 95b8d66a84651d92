"""How providers are doing: breakers, throttles and delivery rates in shared rows."""
