// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package com.google.firebase.messaging;

import android.app.Service;
import android.content.Intent;
import android.os.IBinder;

/** As much of the class of this name as the sample uses: Google publishes it in a repository of its own. */
public class FirebaseMessagingService extends Service {
  public void onMessageReceived(RemoteMessage message) {}

  public void onNewToken(String token) {}

  public void onDeletedMessages() {}

  @Override
  public IBinder onBind(Intent intent) {
    return null;
  }
}
