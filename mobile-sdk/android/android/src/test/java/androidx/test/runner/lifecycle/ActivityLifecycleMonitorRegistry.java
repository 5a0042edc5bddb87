// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package androidx.test.runner.lifecycle;

/** See androidx.test.platform.app.InstrumentationRegistry. */
public final class ActivityLifecycleMonitorRegistry {
  private static ActivityLifecycleMonitor monitor;

  private ActivityLifecycleMonitorRegistry() {}

  public static void registerInstance(ActivityLifecycleMonitor registered) {
    monitor = registered;
  }

  public static ActivityLifecycleMonitor getInstance() {
    return monitor;
  }
}
