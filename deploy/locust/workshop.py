"""The load of the workshop that this gateway replaces the service of: two kinds of request, and a pause between them."""

from locust import HttpUser, between, task


class UsuarioPrediccion(HttpUser):
    wait_time = between(1, 2.5)

    @task
    def predecir(self):
        self.client.post(
            "/predict",
            json={
                "Elevation": 2723,
                "Aspect": 127,
                "Slope": 16,
                "Horizontal_Distance_To_Hydrology": 190,
                "Vertical_Distance_To_Hydrology": 69,
                "Horizontal_Distance_To_Roadways": 1560,
                "Hillshade_9am": 245,
                "Hillshade_Noon": 228,
                "Hillshade_3pm": 108,
                "Horizontal_Distance_To_Fire_Points": 845,
                "Wilderness_Area": "Rawah",
                "Soil_Type": "C7746",
                "model": "modelo_covertype_vf",
            },
        )

    @task
    def listar_modelos(self):
        self.client.get("/listar_modelos")
