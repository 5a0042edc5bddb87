// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package androidx.test.runner.lifecycle;

/** See androidx.test.platform.app.InstrumentationRegistry. */
public final class ApplicationLifecycleMonitorRegistry {
  private ApplicationLifecycleMonitorRegistry() {}

  public static void registerInstance(ApplicationLifecycleMonitor registered) {}
}
