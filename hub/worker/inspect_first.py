"""What a kind of fault is called in words, and what an engineer looks at first."""

from shared.scoring import NOVELTY

KINDS: dict[str, tuple[str, str]] = {
    "accel_bias": (
        "accelerometer bias",
        "the IMU's mounting and temperature; calibrate the accelerometers, compare the IMUs on the bench",
    ),
    "airspeed_fail": (
        "airspeed sensor fault",
        "pitot and static tubes for blockage and leaks; the sensor's zero offset",
    ),
    "baro_drift": (
        "barometer drift",
        "the barometer's foam and temperature; light or wind on the sensor; compare with the second one",
    ),
    "baro_fail": (
        "barometer failure",
        "the barometer: its bus, its port; replace the flight controller when it stays frozen",
    ),
    "baro_glitch": ("barometer step", "the barometer's cover and pressure port; prop wash; the sensor's bus"),
    "battery_sag": (
        "battery sag",
        "the pack's internal resistance and connectors; its age; do not fly it before it is tested",
    ),
    "compass_fail": ("compass failure", "the compass's cable and bus; the priority of the compasses"),
    "compass_interference": (
        "compass interference",
        "cables with high current near the compass; metal parts moved; calibrate for motor current",
    ),
    "engine_loss": (
        "loss of engine power",
        "fuel or power feed, ESC, engine and propeller; the linkage of the throttle",
    ),
    "gps_degraded": ("degraded GPS", "the antenna's view of the sky, its cable; sources of interference on board"),
    "gps_glitch": (
        "GPS position jump",
        "multipath near buildings, the antenna's place; spoofing if it recurs at one place",
    ),
    "gps_jam": ("GPS jamming", "interference on board (video, telemetry) or around the site; report it if it recurs"),
    "gps_loss": ("loss of GPS", "the antenna's cable and power; the receiver's bus"),
    "gyro_bias": ("gyroscope bias", "the IMU's temperature calibration and mounting; compare the IMUs at rest"),
    "gyro_noise": ("gyroscope noise", "vibration damping and loose parts near the IMU; the sensor itself"),
    "imu_fail": ("IMU failure", "the failed IMU: do not fly on one IMU; replace the flight controller"),
    "motor_degraded": (
        "weak motor",
        "the motor's bearings and windings, its ESC and propeller; compare currents of all motors",
    ),
    "motor_fail": ("motor failure", "motor, ESC, connectors and propeller of the slow rotor"),
    "prop_imbalance": (
        "propeller imbalance",
        "the propellers for chips and cracks; balance or replace them; motor bells",
    ),
    "rc_loss": ("loss of radio control", "receiver, antennas, range; the transmitter's log"),
    "servo_slow": ("slow servos", "the servos' supply voltage and load, binding linkages"),
    "surface_stuck": ("control surface fault", "hinges, horn and linkage of the surface; its servo under load"),
    "swash_servo": ("swashplate servo fault", "the swashplate's servos and links, one by one under load"),
    "tail_servo": ("tail servo fault", "tail servo, pitch slider and linkage"),
    "vibration": ("vibration", "mounting of the flight controller, loose parts, propellers and bearings"),
    NOVELTY: ("unlike any flight seen", "the quantities named below, in their order"),
}
"""Kind -> (name in words, what to inspect first)."""
