-- What the sensor watches: every day that has been observed. Its key is `date`, so the days that
-- arrive, change or vanish are told apart.
SELECT date, precipitation, temp_max, temp_min, wind, weather
FROM demo.public.weather
