-- What the starter flow learns from: the mean temperature (°C) of each observed day since `:since`.
SELECT date, (temp_max + temp_min) / 2 AS temperature
FROM demo.public.weather
WHERE date >= CAST(:since AS DATE) AND temp_max IS NOT NULL AND temp_min IS NOT NULL
ORDER BY date
