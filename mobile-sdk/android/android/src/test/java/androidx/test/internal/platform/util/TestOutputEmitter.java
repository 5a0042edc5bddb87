// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package androidx.test.internal.platform.util;

/** See androidx.test.platform.app.InstrumentationRegistry. */
public final class TestOutputEmitter {
  private TestOutputEmitter() {}

  public static void dumpThreadStates(String file) {}
}
