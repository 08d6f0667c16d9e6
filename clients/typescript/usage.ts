// The calls of the IDE, word for word as in its documentation except for the import.
import { db } from 'antiphon-db';

// Create a new project
const project = await db.createProject({
  name: 'My Voice Agent',
  description: 'A helpful voice assistant',
  initial_prompt: 'You are a helpful assistant...',
  config: { voice: 'alloy', model: 'gpt-4' }
});

// Start a chat session
const session = await db.createChatSession({
  project_id: project.id,
  title: 'Initial Setup'
});

// Add messages
const userMessage = await db.createChatMessage({
  session_id: session.id,
  role: 'user',
  content: 'Create a simple voice agent'
});

const assistantMessage = await db.createChatMessage({
  session_id: session.id,
  role: 'assistant',
  content: 'I\'ll create a voice agent for you...',
  is_checkpoint: true // Mark as checkpoint for code changes
});

// Create a file
const file = await db.createProjectFile(project.id, {
  file_path: 'main.py',
  file_name: 'main.py',
  file_type: 'file',
  content: 'print("Hello, World!")',
  language: 'python'
});

// Update file (automatically creates snapshot)
const updatedFile = await db.updateProjectFile(
  project.id,
  {
    file_path: 'main.py',
    content: 'print("Hello, Voice Assistant!")',
    change_description: 'Updated greeting message'
  },
  session.id,
  assistantMessage.id
);

// Get file history
const snapshots = await db.getFileSnapshots(file.id);

// Revert to previous version
await db.revertFileToSnapshot(file.id, snapshots[1].id);

// Sync virtual file system to database
await db.syncVirtualFileSystemToDatabase(
  project.id,
  session.id,
  assistantMessage.id,
  [
    { path: 'main.py', name: 'main.py', content: '...', type: 'file' },
    { path: 'utils.py', name: 'utils.py', content: '...', type: 'file' }
  ],
  'Updated voice agent implementation'
);

// Create project snapshot
const snapshot = await db.createProjectSnapshot(
  project.id,
  session.id,
  assistantMessage.id,
  'Working Voice Agent v1.0',
  'First working version with basic functionality'
);

// Restore project to snapshot
await db.restoreProjectSnapshot(snapshot.id);

// Get project statistics
const stats = await db.getProjectStats(project.id);

// Get recent activity
const activity = await db.getRecentActivity(10);

// Get user projects with filtering
const projects = await db.getUserProjects(
  { status: 'active', search: 'voice' },
  { page: 1, limit: 20, sort_by: 'updated_at', sort_order: 'desc' }
);
