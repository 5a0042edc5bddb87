// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package androidx.test.runner.intent;

/** See androidx.test.platform.app.InstrumentationRegistry. */
public final class IntentStubberRegistry {
  private IntentStubberRegistry() {}

  public static boolean isLoaded() {
    return false;
  }

  public static IntentStubber getInstance() {
    throw new IllegalStateException("there is none");
  }
}
