//! Microphone, speaker and ringer: chosen at any time, kept in this browser by id and by name, since ids change.

export interface DeviceChoice {
  microphone: string;
  speaker: string;
  ringer: string;
  /** Of the ringer, 0 to 1. */
  volume: number;
}

const STORED = "ringdown.devices";

export function deviceChoice(): DeviceChoice {
  const stored = localStorage.getItem(STORED);
  const usual: DeviceChoice = { microphone: "", speaker: "", ringer: "", volume: 0.5 };
  return stored === null ? usual : { ...usual, ...(JSON.parse(stored) as Partial<DeviceChoice>) };
}

export function keepDeviceChoice(choice: DeviceChoice): void {
  localStorage.setItem(STORED, JSON.stringify(choice));
}

export interface DeviceLists {
  microphones: MediaDeviceInfo[];
  speakers: MediaDeviceInfo[];
}

/** What is plugged in now. Names are known once the microphone was allowed. */
export async function devices(): Promise<DeviceLists> {
  const all = await navigator.mediaDevices.enumerateDevices();
  return {
    microphones: all.filter((device) => device.kind === "audioinput" && device.deviceId !== ""),
    speakers: all.filter((device) => device.kind === "audiooutput" && device.deviceId !== ""),
  };
}
